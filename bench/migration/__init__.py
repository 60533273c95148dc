"""The parts of `bench/migrate`."""
