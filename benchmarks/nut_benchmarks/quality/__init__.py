"""Which settings of PatchCore tell defects best, with the backbones whose weights need no internet."""
