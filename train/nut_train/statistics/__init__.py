"""How sure a figure is: resampling, figures from counts, and intervals."""
