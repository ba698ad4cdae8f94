// A list of types that are found by name.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace gdfast {

template <class... Entries>
struct Table {
    static std::vector<std::string> names() { return {Entries::name...}; }

    // A Wrap<Entry> of the entry of that name, built from its numbers, behind its base class.
    template <class Base, template <class> class Wrap>
    static std::unique_ptr<Base> make(const std::string &name, const std::vector<double> &numbers) {
        std::unique_ptr<Base> made;
        ((Entries::name == name ? void(made = std::make_unique<Wrap<Entries>>(Entries(numbers.data()))) : void()), ...);
        if (!made) {
            throw std::invalid_argument("the extension has no " + name);
        }
        return made;
    }
};

} // namespace gdfast
