"""Every proposition of section 3 and of appendices A and B, tried out: does it hold, as printed or corrected?"""
