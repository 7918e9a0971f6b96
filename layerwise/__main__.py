"""The command line as a module, for `torchrun -m layerwise`."""

from layerwise.cli import main

if __name__ == "__main__":
    main()
