"""What durability costs: Kitaru beside a commit made by hand, DBOS and LangGraph."""
