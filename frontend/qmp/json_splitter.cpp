#include "frontend/qmp/json_splitter.h"

namespace calque::qmp {

void JsonSplitter::feed(std::span<const u8> bytes) {
    for (const u8 byte : bytes)
        take(static_cast<char>(byte));
}

void JsonSplitter::reset() {
    text_.clear();
    depth_ = 0;
    in_string_ = escaped_ = skipping_ = false;
}

void JsonSplitter::give_up(std::string_view why) {
    reset();
    skipping_ = true;
    sink_.garbage(why);
}

void JsonSplitter::take(char c) {
    if (skipping_) {
        skipping_ = c != '\n';
        return;
    }
    const bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (depth_ == 0 && space) return;
    if (depth_ == 0 && c != '{' && c != '[') return give_up("a command is an object: {\"execute\": \"NAME\"}");
    if (in_string_ && static_cast<u8>(c) < 0x20) {
        give_up("a control character in a string");
        skipping_ = c != '\n';
        return;
    }
    if (text_.size() >= longest) return give_up("a command of over a megabyte");
    text_ += c;
    if (in_string_) {
        if (escaped_)
            escaped_ = false;
        else if (c == '\\')
            escaped_ = true;
        else if (c == '"')
            in_string_ = false;
        return;
    }
    if (c == '"') in_string_ = true;
    if (c == '{' || c == '[') {
        if (++depth_ > deepest) return give_up("values are nested too deep");
    } else if (c == '}' || c == ']') {
        if (--depth_ > 0) return;
        sink_.value(text_);
        reset();
    }
}

} // namespace calque::qmp
