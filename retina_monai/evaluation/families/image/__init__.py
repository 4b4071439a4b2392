"""Image quality: is each photograph like the real one of the same vessel map?"""
