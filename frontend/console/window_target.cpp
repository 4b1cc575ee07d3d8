#include "frontend/console/window_target.h"

#include <string_view>
#include <vector>

namespace calque::console {

namespace {

// The window's own memory: the least work, on X11, where a window's units are dots.
class SurfaceTarget final : public WindowTarget {
  public:
    SurfaceTarget(const Sdl& sdl, SDL_Window* window) : sdl_(sdl), window_(window) {}

    Canvas canvas() override {
        surface_ = sdl_.GetWindowSurface(window_);
        if (!surface_) return {};
        ours_ = surface_->format->format == SDL_PIXELFORMAT_RGB888 && !SDL_MUSTLOCK(surface_);
        const u32 width = static_cast<u32>(surface_->w), height = static_cast<u32>(surface_->h);
        if (ours_)
            return {static_cast<u32*>(surface_->pixels), static_cast<std::size_t>(surface_->pitch) / sizeof(u32), width,
                    height};
        converted_.resize(std::size_t{width} * height);
        return {converted_.data(), width, width, height};
    }

    void show(std::span<const SDL_Rect> changed) override {
        if (!surface_) return;
        if (!ours_)
            sdl_.ConvertPixels(surface_->w, surface_->h, SDL_PIXELFORMAT_RGB888, converted_.data(), surface_->w * 4,
                               surface_->format->format, surface_->pixels, surface_->pitch);
        sdl_.UpdateWindowSurfaceRects(window_, changed.data(), static_cast<int>(changed.size()));
    }

  private:
    const Sdl& sdl_;
    SDL_Window* const window_;
    SDL_Surface* surface_ = nullptr;
    bool ours_ = true;           // The display's pixels are as ours.
    std::vector<u32> converted_; // The canvas, where they are not.
};

// A renderer: where a window has more dots than units, as on Wayland, SDL's surfaces have only its units.
class RendererTarget final : public WindowTarget {
  public:
    RendererTarget(const Sdl& sdl, SDL_Renderer* renderer) : sdl_(sdl), renderer_(renderer) {}
    ~RendererTarget() override {
        if (texture_) sdl_.DestroyTexture(texture_);
        sdl_.DestroyRenderer(renderer_);
    }

    Canvas canvas() override {
        int width = 0, height = 0;
        if (sdl_.GetRendererOutputSize(renderer_, &width, &height) != 0 || width <= 0 || height <= 0) return {};
        if (!texture_ || width != width_ || height != height_) {
            if (texture_) sdl_.DestroyTexture(texture_);
            texture_ =
                sdl_.CreateTexture(renderer_, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING, width, height);
            width_ = width;
            height_ = height;
            pixels_.assign(std::size_t(width) * std::size_t(height), 0);
        }
        if (!texture_) return {};
        return {pixels_.data(), static_cast<std::size_t>(width_), static_cast<u32>(width_), static_cast<u32>(height_)};
    }

    void show(std::span<const SDL_Rect> changed) override {
        for (const SDL_Rect& rect : changed)
            sdl_.UpdateTexture(texture_, &rect, pixels_.data() + std::ptrdiff_t{rect.y} * width_ + rect.x,
                               width_ * static_cast<int>(sizeof(u32)));
        sdl_.RenderCopy(renderer_, texture_, nullptr, nullptr);
        sdl_.RenderPresent(renderer_);
    }

  private:
    const Sdl& sdl_;
    SDL_Renderer* const renderer_;
    SDL_Texture* texture_ = nullptr;
    int width_ = 0, height_ = 0; // Of the texture and the pixels.
    std::vector<u32> pixels_;
};

} // namespace

Result<std::unique_ptr<WindowTarget>> WindowTarget::make(const Sdl& sdl, SDL_Window* window) {
    if (std::string_view(sdl.GetCurrentVideoDriver()) == "wayland")
        if (SDL_Renderer* const renderer = sdl.CreateRenderer(window, -1, 0))
            return std::unique_ptr<WindowTarget>(std::make_unique<RendererTarget>(sdl, renderer));
    auto target = std::make_unique<SurfaceTarget>(sdl, window);
    if (!target->canvas().pixels)
        return error("the display lets nothing be drawn in its window ({}); set SDL_VIDEODRIVER=x11, or use -nographic",
                     sdl.GetError());
    return std::unique_ptr<WindowTarget>(std::move(target));
}

} // namespace calque::console
