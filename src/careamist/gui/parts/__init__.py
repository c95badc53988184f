"""Small parts that the docks are made of."""
