// Loaded before the page is drawn, so that it never flashes in the wrong colours.
(function () {
  "use strict";
  const root = document.documentElement;
  const choices = ["auto", "light", "dark"];
  let stored = null;
  try {
    stored = localStorage.getItem("nut-theme");
  } catch (error) {
    stored = null; // storage is switched off: the choice lasts as long as the page
  }
  root.dataset.theme = choices.includes(stored) ? stored : "auto";

  window.nutNextTheme = function () {
    const next = choices[(choices.indexOf(root.dataset.theme) + 1) % choices.length];
    root.dataset.theme = next;
    try {
      localStorage.setItem("nut-theme", next);
    } catch (error) {
      return next;
    }
    return next;
  };
})();
