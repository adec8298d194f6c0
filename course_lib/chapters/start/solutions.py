"""Model solutions of notebook 00."""

rate = "`rate = 0.05`"
caption = "`held_out_error = 4.3`"
zero_line = "`factor = 9`"
