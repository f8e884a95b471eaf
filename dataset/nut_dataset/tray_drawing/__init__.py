"""Draws trays of weld nuts with exact masks of each: nuts drawn or cut from photos, tables, clutter, cameras."""
