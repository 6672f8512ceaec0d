"""pFedSAM on Flower: hospitals fine-tune Segment Anything together, each keeping its own experts."""

__version__ = "0.1.0"
