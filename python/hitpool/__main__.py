"""`python -m hitpool` is the command `hitpool`."""

from hitpool_command import main

main()
