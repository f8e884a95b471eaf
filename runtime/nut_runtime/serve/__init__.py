"""The live page, health and metrics over HTTP; needs the extra `serve` (docs/live-page.md)."""
