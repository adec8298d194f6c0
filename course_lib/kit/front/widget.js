// The page of a demo in a notebook: its source is the widget's model.

export default {
  render({model, el}) {
    const bytes = view => new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
    const picture = pngPicture(), paint = () => picture.show(bytes(model.get("png")), model.get("state").words);
    paint();
    return mount(el, {
      declaration: model.get("declaration"),
      picture: picture.element,
      state: () => model.get("state"),
      send: message => model.send(message),
      onChange: callback => model.on("change:state", () => { paint(); callback(); }),
    });
  },
};
