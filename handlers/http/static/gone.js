// There is no such server; what else this page tells is for all pages.
import { goOnRemoving } from "./removing.js";
import "./watch.js";

goOnRemoving();
