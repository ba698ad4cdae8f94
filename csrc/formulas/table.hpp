// A list of types that are found by name. Each says how many numbers it is built from: those of the Python record.
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
        ((Entries::name == name ? void(made = make_of<Base, Wrap, Entries>(numbers)) : void()), ...);
        if (!made) {
            throw std::invalid_argument("the extension has no " + name);
        }
        return made;
    }

private:
    template <class Base, template <class> class Wrap, class Entry>
    static std::unique_ptr<Base> make_of(const std::vector<double> &numbers) {
        if (numbers.size() != Entry::arity) {
            throw std::invalid_argument("the extension knows " + std::string(Entry::name) + " with " +
                                        std::to_string(Entry::arity) + " numbers, and was given " +
                                        std::to_string(numbers.size()) +
                                        ": install gdfast anew, so that both are of the same version");
        }
        return std::make_unique<Wrap<Entry>>(Entry(numbers.data()));
    }
};

} // namespace gdfast
