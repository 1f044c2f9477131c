#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%% Usage: docs/build.escript DIR
%% Builds the reference into DIR: a page for each module by edoc, and one for each text in Markdown
%% (README.md, CHANGELOG.md, SECURITY.md, docs/*.md, that of examples/elixir). A warning of edoc and
%% a dead link between pages are errors.
%% Of Markdown it knows what our texts use: headings, paragraphs, lists, tables, code, links.
-mode(compile).

%% A module is in the reference if its header has @doc, and is not if it has @hidden.
-define(MARKS, "^%% @(doc|hidden)\\b").

main([Dir]) ->
    Root = filename:dirname(filename:dirname(filename:absname(escript:script_name()))),
    Sources = lists:sort(filelib:wildcard(filename:join([Root, "src", "*.erl"]))),
    ok = expect([Source ++ ": neither @doc nor @hidden in its header"
                 || Source <- Sources, not is_marked(Source)]),
    _ = file:del_dir_r(Dir),
    ok = expect(edoc(Root, Sources, Dir)),
    Texts = ["README.md", "CHANGELOG.md", "SECURITY.md", "examples/elixir/README.md"
             | filelib:wildcard("docs/*.md", Root)],
    [ok = file:write_file(filename:join(Dir, page(Text)), html(Root, Text)) || Text <- Texts],
    Pages = [filename:basename(Page) || Page <- filelib:wildcard(filename:join(Dir, "*.html"))],
    Read = maps:from_list([{Page, without_hidden(read(filename:join(Dir, Page)), Pages)}
                           || Page <- Pages]),
    [ok = file:write_file(filename:join(Dir, Page), Html) || {Page, Html} <- maps:to_list(Read)],
    ok = expect(dead_links(Read)),
    io:format("~b pages in ~ts~n", [length(Pages), Dir]);
main(_) ->
    expect(["usage: docs/build.escript DIR"]).

expect([]) ->
    ok;
expect(Wrong) ->
    [io:format(standard_error, "~ts~n", [Line]) || Line <- Wrong],
    halt(1).

read(File) ->
    {ok, Bytes} = file:read_file(File),
    Bytes.

%%% Modules

is_marked(Source) ->
    [Header, _] = binary:split(read(Source), <<"\n-module(">>),
    re:run(Header, ?MARKS, [multiline]) =/= nomatch.

%% What edoc has to say.
edoc(Root, Sources, Dir) ->
    Options = [{dir, Dir}, {overview, filename:join([Root, "docs", "overview.edoc"])},
               {application, gen_rpc}, {preprocess, true}],
    Leader = group_leader(),
    Device = spawn_link(fun() -> keep_output([]) end),
    true = group_leader(Device, self()),
    Result = try edoc:files(Sources, Options) catch Class:Reason -> {Class, Reason} end,
    true = group_leader(Leader, self()),
    Device ! {said, self()},
    Lines = receive {Device, Text} -> [binary_to_list(L) || L <- lines(Text), L =/= <<>>] end,
    case Result of
        ok -> Lines;
        _ -> Lines ++ [io_lib:format("edoc: ~0tp", [Result])]
    end.

%% A group leader that keeps what is printed.
keep_output(Said) ->
    receive
        {io_request, From, ReplyAs, Request} ->
            case Request of
                {put_chars, _Encoding, Chars} -> reply(From, ReplyAs, [Said | Chars]);
                {put_chars, _Encoding, M, F, A} -> reply(From, ReplyAs, [Said | apply(M, F, A)])
            end;
        {said, From} ->
            From ! {self(), unicode:characters_to_binary(Said)}
    end.

reply(From, ReplyAs, Said) ->
    From ! {io_reply, ReplyAs, ok},
    keep_output(Said).

%% A type of a module that is not in the reference stays as it is, without a link.
without_hidden(Html, Pages) ->
    {ok, Link} = re:compile("<a (?:[^>]* )?href=\"(gen_rpc_\\w+\\.html)(?:#[^\"]*)?\"[^>]*>"
                            "(.*?)</a>", [dotall]),
    case re:run(Html, Link, [global, {capture, all, binary}]) of
        nomatch ->
            Html;
        {match, Links} ->
            lists:foldl(fun([All, Page, Text], Acc) ->
                                case lists:member(binary_to_list(Page), Pages) of
                                    true -> Acc;
                                    false -> binary:replace(Acc, All, Text, [global])
                                end
                        end, Html, Links)
    end.

%%% Links

dead_links(Pages) ->
    Anchors = maps:map(fun(_, Html) -> found(Html, "<[^>]* (?:id|name)=\"([^\"]*)\"") end, Pages),
    [io_lib:format("~ts: nothing is at ~ts", [Page, Link])
     || {Page, Html} <- maps:to_list(Pages),
        Link <- found(Html, "<a (?:[^>]* )?href=\"([^\"]*)\""),
        not is_outside(Link), not leads_somewhere(Link, Page, Anchors)].

found(Html, Pattern) ->
    case re:run(Html, Pattern, [global, {capture, all_but_first, list}]) of
        {match, Found} -> lists:usort(lists:append(Found));
        nomatch -> []
    end.

is_outside(Link) ->
    re:run(Link, "^[a-z]+:") =/= nomatch.

leads_somewhere(Link, Page, Anchors) ->
    case string:split(Link, "#") of
        ["", Anchor] -> lists:member(Anchor, maps:get(Page, Anchors));
        [Other, Anchor] -> lists:member(Anchor, maps:get(Other, Anchors, []));
        [Other] -> is_map_key(Other, Anchors)
    end.

%%% Markdown

page("examples/elixir/README.md") -> "ELIXIR.html";
page(Text) -> filename:basename(Text, ".md") ++ ".html".

html(Root, Text) ->
    _ = put(directory, filename:dirname(Text)),
    Blocks = blocks(lines(read(filename:join(Root, Text)))),
    [{heading, 1, Title} | _] = Blocks,
    unicode:characters_to_binary(
      ["<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"UTF-8\">\n<title>", escape(Title),
       "</title>\n<link rel=\"stylesheet\" type=\"text/css\" href=\"stylesheet.css\">\n",
       "<style>table { border-collapse: collapse } td, th { border: 1px solid #aaa; "
       "padding: 2px 6px; text-align: left; vertical-align: top } pre { overflow-x: auto }"
       "</style>\n",
       "</head>\n<body bgcolor=\"white\">\n",
       "<div class=\"navbar\"><a href=\"overview-summary.html\">Overview</a></div>\n<hr>\n",
       [block(Block) || Block <- Blocks], "</body>\n</html>\n"]).

lines(Text) ->
    binary:split(Text, <<"\n">>, [global]).

blocks([]) -> [];
blocks([<<>> | Rest]) -> blocks(Rest);
blocks([<<"```", _/binary>> | Rest]) ->
    {Code, [_End | After]} = lists:splitwith(fun(L) -> not starts(<<"```">>, L) end, Rest),
    [{code, Code} | blocks(After)];
blocks([<<"#", _/binary>> = Line | Rest]) ->
    [Marks, Title] = binary:split(Line, <<" ">>),
    [{heading, byte_size(Marks), Title} | blocks(Rest)];
blocks([<<"|", _/binary>> | _] = Lines) ->
    {[Head, _Rule | Rows], Rest} = lists:splitwith(fun(L) -> starts(<<"|">>, L) end, Lines),
    [{table, cells(Head), [cells(Row) || Row <- Rows]} | blocks(Rest)];
blocks([Line | Rest] = Lines) ->
    case item(Line) of
        none ->
            {Paragraph, After} = lists:splitwith(fun is_text/1, Rest),
            [{paragraph, [Line | Paragraph]} | blocks(After)];
        {Kind, _, _} ->
            {Items, After} = items(Kind, Lines),
            [{list, Kind, Items} | blocks(After)]
    end.

starts(Prefix, Line) ->
    string:prefix(Line, Prefix) =/= nomatch.

is_text(<<>>) -> false;
is_text(<<"```", _/binary>>) -> false;
is_text(<<"|", _/binary>>) -> false;
is_text(Line) -> item(Line) =:= none.

%% A line that begins an item: kind, what is in the line, how far the rest of the item is indented.
item(<<"- ", Text/binary>>) -> {ul, Text, 2};
item(Line) ->
    case re:run(Line, "^([0-9]+\\. )(.*)$", [{capture, all_but_first, binary}]) of
        {match, [Mark, Text]} -> {ol, Text, byte_size(Mark)};
        nomatch -> none
    end.

items(Kind, [Line | Rest] = Lines) ->
    case item(Line) of
        {Kind, Text, Indent} ->
            {Inside, After} = inside(binary:copy(<<" ">>, Indent), Rest, []),
            {Items, End} = items(Kind, After),
            {[blocks([Text | Inside]) | Items], End};
        _ ->
            {[], Lines}
    end;
items(_Kind, []) ->
    {[], []}.

inside(Indent, [Line | Rest] = Lines, Acc) ->
    case string:prefix(Line, Indent) of
        nomatch when Line =:= <<>>, Rest =/= [] ->
            case starts(Indent, hd(Rest)) of
                true -> inside(Indent, Rest, [Line | Acc]);
                false -> {lists:reverse(Acc), Lines}
            end;
        nomatch ->
            {lists:reverse(Acc), Lines};
        Text ->
            inside(Indent, Rest, [Text | Acc])
    end;
inside(_Indent, [], Acc) ->
    {lists:reverse(Acc), []}.

%% Bars inside of code, or behind a backslash, separate nothing.
cells(Row) ->
    {match, Cells} = re:run(Row, "\\|((?:[^|`\\\\]|\\\\.|`[^`]*`)*)(?=\\|)",
                            [global, {capture, all_but_first, binary}]),
    [string:trim(Cell) || [Cell] <- Cells].

block({heading, Level, Title}) ->
    H = integer_to_list(Level),
    ["<h", H, " id=\"", slug(Title), "\">", inline(Title), "</h", H, ">\n"];
block({code, Lines}) ->
    ["<pre><code>", [[escape(Line), $\n] || Line <- Lines], "</code></pre>\n"];
block({table, Head, Rows}) ->
    ["<table>\n", row("th", Head), [row("td", Row) || Row <- Rows], "</table>\n"];
block({list, Kind, Items}) ->
    Tag = atom_to_list(Kind),
    ["<", Tag, ">\n", [["<li>", in_item(Item), "</li>\n"] || Item <- Items], "</", Tag, ">\n"];
block({paragraph, Lines}) ->
    ["<p>", text(Lines), "</p>\n"].

in_item([{paragraph, Lines} | Blocks]) -> [text(Lines) | [block(Block) || Block <- Blocks]];
in_item(Blocks) -> [block(Block) || Block <- Blocks].

row(Tag, Cells) ->
    ["<tr>", [["<", Tag, ">", inline(Cell), "</", Tag, ">"] || Cell <- Cells], "</tr>\n"].

text(Lines) ->
    inline(iolist_to_binary(lists:join($\n, Lines))).

inline(Text) ->
    case re:run(Text, "`([^`]+)`|\\*\\*([^*]+)\\*\\*|\\*([^*\\s]+)\\*|\\[([^]]+)\\]\\(([^)]+)\\)"
                "|\\\\([|*\\[\\]])", [{capture, all, index}]) of
        nomatch ->
            escape(Text);
        {match, [{Start, Length} | Groups]} ->
            <<Before:Start/binary, _:Length/binary, After/binary>> = Text,
            Matched = [binary:part(Text, Group) || {At, _} = Group <- Groups, At >= 0],
            [escape(Before), span(Matched, length(Groups)), inline(After)]
    end.

%% By the number of the last group that matched.
span([Code], 1) -> ["<code>", escape(Code), "</code>"];
span([Bold], 2) -> ["<b>", inline(Bold), "</b>"];
span([Stressed], 3) -> ["<em>", inline(Stressed), "</em>"];
span([Text, Target], 5) -> link(Text, Target);
span([Char], 6) -> escape(Char).

link(Text, Target) ->
    ["<a href=\"", escape(target(Target)), "\">", inline(Text), "</a>"].

%% Another text of ours is another page here.
target(Target) ->
    case re:run(Target, "^([A-Za-z0-9_./-]+\\.md)(#.*)?$", [{capture, [1, 2], list}]) of
        {match, [Text, Anchor]} ->
            page(flatten(filename:split(filename:join(get(directory), Text)), [])) ++ Anchor;
        nomatch ->
            Target
    end.

%% A path without `.' and `..'.
flatten([".." | Rest], [_ | Up]) -> flatten(Rest, Up);
flatten(["." | Rest], Acc) -> flatten(Rest, Acc);
flatten([Name | Rest], Acc) -> flatten(Rest, [Name | Acc]);
flatten([], Acc) -> filename:join(lists:reverse(Acc)).

%% As GitHub makes them.
slug(Title) ->
    Lower = string:lowercase(re:replace(Title, "\\[([^]]*)\\]\\([^)]*\\)", "\\1",
                                        [global, {return, binary}])),
    re:replace(re:replace(Lower, "[^\\w -]", "", [global, unicode, ucp, {return, binary}]),
               " ", "-", [global, {return, binary}]).

escape(Text) ->
    lists:foldl(fun({Char, Entity}, Acc) -> binary:replace(Acc, Char, Entity, [global]) end,
                iolist_to_binary(Text),
                [{<<"&">>, <<"&amp;">>}, {<<"<">>, <<"&lt;">>}, {<<">">>, <<"&gt;">>},
                 {<<"\"">>, <<"&quot;">>}]).
