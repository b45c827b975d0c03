"""How batten is proved: crashes, faults and contracts, for tests; nothing imports it."""
