"""Draws weld nuts: height map, metal, thread, table and camera, and six kinds of defect with exact masks.

    nut = draw_nut(np.random.default_rng(7), height_px=320, width_px=320, defect=DefectKind.DENT)
    nut.picture     uint8 [H, W, 3], BGR
    nut.silhouette  bool [H, W]
    nut.defect      bool [H, W]

Lengths are in nut units where a name does not say otherwise: 1 is half the width of the nut's body.
"""

from nut_dataset.drawing.nut import MIN_SIDE_PX, DefectKind, DrawnNut, draw_nut

__all__ = ["MIN_SIDE_PX", "DefectKind", "DrawnNut", "draw_nut"]
