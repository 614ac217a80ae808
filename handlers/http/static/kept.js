// What a browser keeps for us. One that was told to keep nothing throws, and so does one without room:
// what it doesn't take lasts as long as the page.
function kept(name) {
  const here = new Map();
  const tried = (act) => { try { return act(window[name]); } catch { return null; } };
  const removeItem = (key) => { here.delete(key); tried((store) => store.removeItem(key)); };
  return {
    works: tried((store) => store.length) !== null,
    getItem: (key) => here.get(key) ?? tried((store) => store.getItem(key)),
    setItem: (key, value) => {
      removeItem(key);
      try { window[name].setItem(key, value); } catch { here.set(key, value); }
    },
    removeItem,
    clear: () => { here.clear(); tried((store) => store.clear()); },
  };
}

export const forGood = kept("localStorage");
export const forTab = kept("sessionStorage");
