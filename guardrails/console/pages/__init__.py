"""The pages of the console. Each module has `ROUTES`, and `NAVIGATION` where the pages list it; `app.py` names them all."""
