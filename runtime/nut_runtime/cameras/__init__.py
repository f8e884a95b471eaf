"""Cameras that come and go: feeds that reconnect, what is worth judging, and what is connected."""
