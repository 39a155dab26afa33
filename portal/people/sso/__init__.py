"""Single sign-on by OpenID Connect: the code flow of django-allauth, our own check of the token, roles by group."""
