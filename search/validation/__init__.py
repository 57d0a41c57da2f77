"""Does what a search found with short trainings hold after full ones?"""
