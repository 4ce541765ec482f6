"""Words by which a turn is read, in several languages; `problem.py` is the rule that uses them.

An entry is a word, the beginning of one (`calcul*`), or several words joined by `_`. In scripts
without spaces between words it is found anywhere. Words are compared in lower case.
"""

WORKING_OUT = """
    why how_many how_much how_long how_far how_fast how_tall which whether if prove* proof*
    disprove solv* solution* calculat* comput* determine find deriv* evaluat* simplif* factor*
    integra* differentiat* equation* theorem* lemma sum product average mean median percent*
    probabilit* odds ratio angle* triangle* area volume speed distance number* digit* count
    compar* greater smaller larger bigger square* cube* root value* result* matrix vector*
    limit* force mass energy taller older younger heavier faster cheaper code coding function*
    program* script* bug bugs debug* implement* algorithm* quicksort sort sorting sorted python
    java* rust haskell sql regex* recursion loop compil* error* exception* refactor* fix write
    list explain show make create plan design analy* estimat* convert check verif* decide choose
    guess riddle* puzzle* answer answers question* problem* step steps schedul* optimi* minimi*
    maximi* give tell wrong incorrect mistake* again two three four five six seven eight nine
    ten eleven twelve dozen twenty hundred* thousand* million* half twice double triple third
    quarter

    warum weshalb wieso wie_viel* wieviel* wie_lange wie_weit wie_oft welche* ob wenn falls
    beweis* lös* loes* rechne* berechn* ausrechn* bestimm* finde ermittl* vereinfach* ableit*
    gleichung* satz summe produkt durchschnitt* prozent* wahrscheinlich* winkel dreieck* fläche
    zahl zahlen ziffer* zähl* vergleich* größer kleiner älter jünger schwerer schneller billiger
    funktion programm* fehler* sortier* schreib* liste erklär* zeig* erstell* plan* entwirf
    analysier* schätz* prüf* entscheid* rätsel* aufgabe* antwort frage fragen schritt* gib nenn*
    falsch nochmal zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dutzend zwanzig
    hundert* tausend* million* halb* hälfte doppelt

    pourquoi combien quel quelle quels quelles si prouv* démontr* preuve résou* calcul*
    détermin* trouv* simplifi* dériv* intégr* équation* théorème* somme produit moyenne
    pour_cent pourcent* probabilité* angle* nombre* chiffre* compt* compar* fonction* programm*
    bogue* erreur* trier écri* liste expliqu* montr* cré* analys* estim* vérifi* choisi*
    devinette* énigme* réponse problème* étape* donne* faux encore deux trois quatre cinq sept
    huit neuf dix douze vingt cent mille moitié double

    por_qué porqué cuánto* cuánta* cuanto* cuanta* cuál* cual* demuestr* demostr* prueb*
    resuelv* resolv* calcul* determin* encuentr* encontr* halla hallar simplific* deriv* integr*
    ecuaci* teorema* suma producto promedio por_ciento porcentaje* probabilidad* ángulo* número*
    cifra* cuent* compar* función funciones código program* error* orden* escrib* lista expli*
    muestr* analiz* estim* verific* elig* adivinanza* acertijo* respuesta* problema* paso pasos
    dame incorrect* dos tres cuatro cinco seis siete ocho nueve diez doce veinte cien mil mitad
    doble

    perché quanto quanta quanti quante quale quali se dimostr* prov* risolv* calcol* determin*
    trov* semplific* deriv* integral* equazion* teorema* somma prodotto media percent*
    probabilità angolo numero numeri conta compar* funzion* codice programm* errore* ordin*
    scriv* elenc* spieg* mostr* analizz* stim* verific* scegli* indovinello* risposta problema*
    passo dammi sbagliat* due tre quattro cinque sette otto nove dieci dodici venti cento mille
    metà doppio

    por_quê quanto quanta quantos quantas qual quais prov* demonstr* resolv* calcul* determin*
    encontr* simplifi* equaç* soma produto média porcento probabilidade* ângulo número* conte
    compar* funç* código programa* erro escrev* lista expli* mostr* analis* verifi* escolh*
    charada* resposta* problema* passo dê errado dois duas três quatro cinco sete oito nove dez
    doze vinte cem metade dobro

    waarom hoeveel hoe_lang hoe_ver welke bewijs* los bereken* bepaal* vind* vereenvoudig*
    vergelijk* gemiddeld* procent* kans getal* tel functie programm* fout* sorteer* schrijf*
    lijst uitleg* leg_uit toon maak raadsel* antwoord vraag stap* geef twee drie vier vijf zes
    zeven acht negen tien twaalf twintig honderd duizend helft dubbel

    dlaczego ile który która które czy jeśli udowodni* dowód rozwiąż* oblicz* policz* wyznacz*
    znajd* uprość równani* twierdzeni* suma iloczyn średni* procent* prawdopodobie* kąt liczb*
    porówn* funkcj* kod program* błąd napisz* wyjaśni* pokaż* zagadk* odpowied* zadani* krok*
    dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć sto tysiąc połow*

    почему зачем сколько какой какая какое какие ли если докаж* доказ* реши* вычисл* посчита*
    рассчита* найди* найти определ* упрост* уравнени* теорем* сумм* произведени* средн* процент*
    вероятност* угол числ* цифр* сравн* функци* код программ* ошибк* сортир* напиш* список
    объясн* покаж* загадк* ответ вопрос* задач* шаг* дай неверно два две три четыре пять шесть
    семь восемь девять десять двадцать сто тысяч* половин* вдвое

    neden niçin kaç hangi eğer kanıtla* ispat* çöz* hesapla* bul bulun denklem* teorem* toplam*
    çarpım* ortalama* yüzde* olasılık* sayı* karşılaştır* fonksiyon* kod program* hata* yaz*
    listele* açıkla* göster* bilmece* cevap soru* problem* adım* iki üç dört beş altı yedi sekiz
    dokuz yarı*

    多少 几 幾 为什么 為什麼 计算 計算 求 解方 解出 解答 解释 證 证明 證明 方程 函数 函數 代码
    代碼 程序 写 寫 列出 分析 比较 比較 如果 算 数 數 概率 面积 面積 哪 是否 步 题 題 给 給 还是
    還是 错 錯 再来 再試 分之

    いくつ いくら 何個 何人 何回 なぜ どうして 計算 求め 証明 方程式 関数 コード プログラム 書い
    説明 比べ 確率 もし どちら どれ 教え 間違

    몇 얼마 왜 계산 풀어 풀이 구하 구해 증명 방정식 함수 코드 프로그램 작성 설명 비교 확률 만약
    어느 알려 틀렸

    كم لماذا احسب أحسب أوجد جد حل أثبت اثبت معادلة دالة كود برنامج اكتب أكتب اشرح قارن احتمال
    إذا اذا أي خطأ اثنان ثلاثة أربعة خمسة ستة سبعة ثمانية تسعة عشرة مئة ألف نصف

    कितने कितना कितनी क्यों गणना हल सिद्ध समीकरण कोड लिखो लिखें लिखिए समझाओ समझाएं अगर यदि कौनसा
    दो तीन चार पांच पाँच छह सात आठ नौ दस सौ हजार आधा
"""
"""What asks for something to be worked out: quantities, reasons, proofs, code, verbs of solving."""

INTERROGATIVE = """
    what who whom whose where when how
    was wer wen wem wo wann wie wohin woher
    que quoi qui où quand comment
    qué quién quien quiénes dónde donde cuándo cuando cómo como
    che chi cosa dove quando come
    o_que quem onde quando
    wat wie waar wanneer hoe
    co kto gdzie kiedy jak
    что кто где когда как куда
    ne kim nerede nasıl
    什么 什麼 谁 誰 怎 何 吗 嗎 呢
    だれ どこ いつ ですか ますか
    무엇 뭐 누구 어디 언제 어떻게
    ما من ماذا هل أين متى كيف
    क्या कौन कहाँ कब कैसे
"""

SECOND_PERSON = """
    you your yours yourself
    du dich dir dein* euch sind_sie können_sie haben_sie heißen_sie
    tu toi tes vous votre vos t_appelles
    tú tu tus usted ustedes eres estás te_llamas
    tuo tua stai chi_sei come_sei
    você vocês teu
    jij je jou jouw
    ty cię ciebie twój twoje jesteś masz
    ты тебя тебе тобой твой твоя вы вас вам вами ваш
    sen seni sana senin siz sizin adın
    你 您 あなた 君は 당신 너는 넌 너의
    أنت انت أنتِ اسمك
    आप आपका आपकी आपको तुम तुम्हारा
"""

FIRST_PERSON = """
    i im me my mine we our us
    ich mich mir mein* wir uns
    je moi mon ma mes nous
    yo me mi mis soy estoy nosotros
    io mi mio mia sono siamo
    eu meu minha sou estou
    ik mij mijn wij
    ja mnie mój moja jestem
    я меня мне мой моя мы
    ben benim biz
    我 私 僕 俺 나는 저는 제
    أنا أنني
    मैं मेरा मेरी मुझे
"""

COURTESY = """
    hi hello hey heya hiya howdy yo greetings welcome good_morning good_evening good_afternoon
    good_night good_day morning thanks thank thx ty cheers bye goodbye cya see_you take_care ok
    okay cool nice great good awesome amazing wow lol haha* hehe* lmao perfect wonderful lovely
    excellent sorry congrat* whats_up what_s_up got_it understood i_see yes yep yeah

    hallo moin servus grüezi guten_morgen guten_tag guten_abend gute_nacht danke dankeschön
    vielen_dank tschüss tschüs auf_wiedersehen bis_bald bis_später super prima toll schön klasse
    wunderbar verstanden alles_klar ja

    bonjour bonsoir salut coucou merci au_revoir à_bientôt bonne_nuit bonne_journée génial
    parfait d_accord enchanté oui

    hola buenas buenos_días buenos_dias buenas_tardes buenas_noches gracias adiós adios
    hasta_luego hasta_pronto vale genial perfecto de_acuerdo encantado sí

    ciao salve buongiorno buonasera buonanotte grazie arrivederci va_bene perfetto ottimo
    piacere

    olá oi bom_dia boa_tarde boa_noite obrigado obrigada tchau até_logo ótimo perfeito tudo_bem

    hoi goedemorgen goedemiddag goedenavond goedendag dank dankjewel bedankt doei tot_ziens
    prima leuk

    cześć hej dzień_dobry dobry_wieczór dobranoc dzięki dziękuję do_widzenia świetnie super
    dobrze

    привет здравствуй* здравствуйте добрый_день доброе_утро добрый_вечер спасибо благодарю пока
    до_свидания спокойной_ночи хорошо отлично понятно ладно

    merhaba selam günaydın iyi_akşamlar iyi_geceler teşekkür* sağ_ol hoşça_kal güle_güle tamam
    harika

    你好 您好 早上好 下午好 晚上好 晚安 谢谢 謝謝 多谢 感谢 感謝 再见 再見 拜拜 好的 哈哈 嗨
    不客气 辛苦了

    こんにちは こんばんは おはよう ありがとう さようなら またね はじめまして おやすみ 了解

    안녕 감사 고마워 고맙 반가 반갑 잘자

    مرحبا مرحباً أهلا أهلاً السلام_عليكم شكرا شكراً وداعا وداعاً صباح_الخير مساء_الخير حسنا
    حسناً

    नमस्ते नमस्कार धन्यवाद शुक्रिया अलविदा ठीक_है
"""
"""Greetings, thanks, farewells, and words that say how something was received."""

PLEASANTRIES = """
    how_are_you how_do_you_do how_s_it_going how_is_it_going how_are_things what_s_up whats_up
    nice_to_meet_you how_old_are_you
    wie_geht_s wie_geht_es_dir wie_geht_es_ihnen wie_gehts
    ça_va comment_ça_va comment_allez_vous comment_vas_tu
    qué_tal que_tal cómo_estás como_estas cómo_está_usted
    come_stai come_va come_sta grazie_mille mille_grazie
    tudo_bem como_vai como_você_está
    hoe_gaat_het hoe_gaat_het_met_je
    co_słychać jak_się_masz
    как_дела как_ты как_поживаешь
    nasılsın nasılsınız naber
    你好吗 你好嗎 最近怎么样 你怎么样 お元気ですか 元気ですか 잘_지내 어떻게_지내세요
    كيف_حالك
    आप_कैसे_हैं तुम_कैसे_हो
"""
"""Questions that are none, and words among them that would count elsewhere."""
