"""Train and compare methods that paint photographs around vessel maps; used by scripts/two_stage.sh."""
