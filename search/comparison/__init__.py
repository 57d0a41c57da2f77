"""A few recipes by hand, side by side: which is better, by how much, and is that more than chance?"""
