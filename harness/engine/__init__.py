"""Forward passes: from plans to model outputs, without knowledge of the targets."""
