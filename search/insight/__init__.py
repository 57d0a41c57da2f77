"""What a study teaches: which knobs matter and how, how it went, and what is expected of what was not tried."""
