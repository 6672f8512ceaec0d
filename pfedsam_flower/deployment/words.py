"""Fingerprints as words: ten of 256, to be read out on the phone by one side and typed by the other."""

import hashlib
import re

COUNT = 10
"""Words of a fingerprint; each says eight bits."""

_IN_ORDER = """
acorn actor album anchor ankle apple apron arrow atlas attic autumn avenue bakery balcony bamboo banjo
barrel basket beaver bicycle biscuit blanket bonnet bottle branch bridge bronze bucket button cactus camel
candle carpet castle ceiling cellar chapel cherry chimney circle clover coconut coffee copper cotton cousin
cradle cricket crystal curtain cushion daisy dancer dentist desert diamond dinner doctor dolphin dragon
drummer eagle easel elbow elephant emerald engine envelope evening fabric falcon farmer feather ferry fiddle
finger fisherman flannel flute forest fossil fountain galaxy garden geyser giraffe glacier goblet gorilla
granite guitar hammer harbour hazel hedgehog helmet hermit hockey honey hotel hunter iceberg igloo island
ivory jacket jelly jewel jigsaw judge jungle kangaroo kennel kettle keyboard kitchen kiwi ladder lagoon
lantern lavender lemon lettuce library lily lion lobster lotus lunch magnet mango maple market meadow melon
mermaid mirror monkey mosaic moth muffin museum napkin needle nephew nickel noodle notebook nugget nutmeg
oasis ocean octopus olive onion opera orange orchard ostrich otter oven oyster palace pancake parrot peach
pebble pelican pencil pepper piano picnic pigeon pillow pirate planet plum pocket pony potato prince puzzle
pyramid quarry queen quilt rabbit radio raven rhubarb ribbon river robin rooster rubber saddle salmon sandal
saturn saucer scarf school sculptor shadow shepherd shovel silver sister slipper snail snow soldier spider
spoon squirrel station stone sugar summer sunset swallow syrup tablet tailor teapot temple thunder tiger
timber tomato tractor trumpet tulip tunnel turtle umbrella uncle unicorn valley velvet vessel vinegar violin
volcano wagon walnut water wheel whistle window wizard yacht yogurt zebra zero zipper
"""
WORDS = tuple(_IN_ORDER.split())
"""Value 0 first. No two begin with the same three letters, and none is one letter away from another."""


def words(content: bytes) -> str:
    """The first 80 bits of the SHA-256 of ``content`` as ten words.

    A forger needs a key or certificate with these very 80 bits: about 2^80 tries.
    """
    return " ".join(WORDS[byte] for byte in hashlib.sha256(content).digest()[:COUNT])


def differing(heard: str, said: str) -> list[int]:
    """Places, from 1, at which two fingerprints differ; case and punctuation do not matter."""
    first, second = (re.findall(r"[a-z]+", text.lower()) for text in (heard, said))
    length = max(len(first), len(second))
    return [place + 1 for place in range(length) if first[place : place + 1] != second[place : place + 1]]
