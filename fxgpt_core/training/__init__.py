"""How training runs on the machine at hand: plan, Lightning glue, checkpoints."""
