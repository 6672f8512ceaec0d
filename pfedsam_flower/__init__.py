"""pFedSAM on Flower: hospitals fine-tune the Segment Anything Model together, each keeping its own experts."""

__version__ = "0.1.0"
