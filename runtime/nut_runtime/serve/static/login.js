"use strict";
const form = document.getElementById("login");
const message = document.getElementById("message");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  try {
    const answer = await fetch("/login", { method: "POST", body: new URLSearchParams({ token: field.value }) });
    if (answer.ok) {
      location.replace("/");
      return;
    }
    message.textContent = (await answer.json()).error;
  } catch (error) {
    message.textContent = "the station does not answer";
  }
  field.select();
});
