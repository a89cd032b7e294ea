"""The teacher: one object that every stage asks, and every prompt that it is sent."""
