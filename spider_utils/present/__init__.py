"""The presentation: numbers read from results/, slides that quote them, and the PowerPoint file made of both."""
