"""A campaign of faults on a small federation of real processes; ``__main__`` says what it asks."""
