"""From a tray of parts to single parts: a locator's distance map, the instances in it, and their cut-outs."""
