"""An lrnde adapter for torchode, whose samples have step sizes of their own."""
