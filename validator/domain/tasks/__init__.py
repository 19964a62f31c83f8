"""What miners are asked, what counts as an answer, and what it is worth."""
