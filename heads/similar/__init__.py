"""Similar: vectors of what customers write; near to each other where they want the same. ``head.HEAD`` declares it."""
