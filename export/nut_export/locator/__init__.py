"""A trained locator as a deployment graph in a judge's bundle, proven like the judge."""
