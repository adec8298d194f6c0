"""The demos full screen, for a lecture hall: no kernel and no code, one local process, and a browser as the screen.

``server`` has the page, the questions and the web socket, and is there before PyTorch is; ``stage`` draws;
``supervise`` starts the process again when it dies. The page (``page.js``) shows the front end that notebooks and the
site show, too.
"""
