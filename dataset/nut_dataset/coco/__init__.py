"""Tray pictures with their parts marked: COCO annotations in, label pictures and distance maps out."""
