// The page of a demo in a notebook: its source is the widget's model.

export default {
  render({model, el}) {
    const bytes = view => view.buffer ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : view;
    const picture = pngPicture(), paint = () => picture.show(bytes(model.get("png")), model.get("state").words);
    paint();
    const close = mount(el, {
      declaration: model.get("declaration"),
      picture: picture.element,
      state: () => model.get("state"),
      send: message => model.send(message),
      onChange: callback => model.on("change:state", () => { paint(); callback(); }),
    });
    return () => { close(); picture.show(null, ""); };
  },
};
