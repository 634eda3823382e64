"""What a run is told beside its message: pieces of the company's workspace, chosen, labelled, shown to people."""
