"""An lrnde adapter for torchode, whose samples have their own step sizes."""
