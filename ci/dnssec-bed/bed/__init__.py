"""The parts of which `make.py` makes a DNSSEC bed."""
