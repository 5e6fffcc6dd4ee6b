"""What both columns compute with: the Cox partial likelihood, baseline hazards; numpy only."""
