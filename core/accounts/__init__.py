"""Who may use this instance: users, tokens, attempts at passwords."""
