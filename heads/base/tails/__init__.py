"""Tails: private copies of a backbone's last blocks, trained with a head in front of which they stand.

``tail`` is the network, ``lora`` trains small additions in place of whole blocks, and ``noise`` changes what a tail
sees of its training inputs.
"""
