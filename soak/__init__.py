"""Many flows on one store for minutes or hours, while workers die; then: was every promise kept?"""
